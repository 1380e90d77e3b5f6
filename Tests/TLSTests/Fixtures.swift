import Bytes

@testable import TLS

/// PEM texts, made for these tests and good until 2124. The keys protect nothing.
enum Fixture {
    static let caCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIBijCCAS+gAwIBAgIUMMHahJPAGwQvauXFn3TZkELRTtkwCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOdW5pdCBhdXRob3JpdHkwIBcNMjYxMTIxMDQ1NzE1WhgPMjEy
        NjEwMjgwNDU3MTVaMBkxFzAVBgNVBAMMDnVuaXQgYXV0aG9yaXR5MFkwEwYHKoZI
        zj0CAQYIKoZIzj0DAQcDQgAExz0rog5daRzWpUc3p/O5dG2A1NzAqeltQs3AuAWY
        ZnY9xb1f2BL2CqqGBctwoj8SBaHM2yGMGOg8WDq3pIHYhaNTMFEwHQYDVR0OBBYE
        FJI6YEjF2kFECr/mKGriU/gOtp6RMB8GA1UdIwQYMBaAFJI6YEjF2kFECr/mKGri
        U/gOtp6RMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAMNa/1ui
        KH1/NBtWAONid4PvOKndBWZDmNoOayN1ig98AiEAr3OQvomYQKV/2hJ5lFkibsr6
        py5LwzGYPBOibV7Kjwo=
        -----END CERTIFICATE-----
        """

    static let mainCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIBuTCCAV+gAwIBAgIUX0rMxM6bjJeUN1Jbfc2IpBIBB9swCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOdW5pdCBhdXRob3JpdHkwIBcNMjYxMTIxMDQ1NzE1WhgPMjEy
        NjEwMjgwNDU3MTVaMBQxEjAQBgNVBAMMCW1haW4udGVzdDBZMBMGByqGSM49AgEG
        CCqGSM49AwEHA0IABAja69/i13pl75HZRMRO8KYhmVH6zevcwUp/Hyhg9nyuYMou
        mTRc+ATOSz515yB64O1xNh8WbqZxbZkH393MkuujgYcwgYQwDAYDVR0TAQH/BAIw
        ADATBgNVHSUEDDAKBggrBgEFBQcDATAfBgNVHREEGDAWggltYWluLnRlc3SCCUFs
        c28uVGVzdDAdBgNVHQ4EFgQUl5Qf77pZscmcQDR+/EBD4Yu9VB4wHwYDVR0jBBgw
        FoAUkjpgSMXaQUQKv+YoauJT+A62npEwCgYIKoZIzj0EAwIDSAAwRQIgTLu8wday
        5pnmOYj92/WThtxce1jlUKk0JrZjpxPuTJwCIQDxGD0PVom7GTRFjAHOy7JVBHKt
        Ds+/vurdSf+uFpo5PQ==
        -----END CERTIFICATE-----
        """

    static let mainKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0kFxlz+0vjsbVvLT
        Rv5Fs6WEVaJfG0B3lt1JheYsLhehRANCAAQI2uvf4td6Ze+R2UTETvCmIZlR+s3r
        3MFKfx8oYPZ8rmDKLpk0XPgEzks+decgeuDtcTYfFm6mcW2ZB9/dzJLr
        -----END PRIVATE KEY-----
        """

    static let wildCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIBrzCCAVSgAwIBAgIUX0rMxM6bjJeUN1Jbfc2IpBIBB9wwCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOdW5pdCBhdXRob3JpdHkwIBcNMjYxMTIxMDQ1NzE1WhgPMjEy
        NjEwMjgwNDU3MTVaMBQxEjAQBgNVBAMMCXdpbGQudGVzdDBZMBMGByqGSM49AgEG
        CCqGSM49AwEHA0IABOGU6/VfVIhMDFWki4gVmToD99HgSAUmqBLTjQAlG4sGaoA0
        SlkV8KRWTt/hgSummGoj+ICdcE719ZiZFJg/ZrujfTB7MAwGA1UdEwEB/wQCMAAw
        EwYDVR0lBAwwCgYIKwYBBQUHAwEwFgYDVR0RBA8wDYILKi53aWxkLnRlc3QwHQYD
        VR0OBBYEFD5WnNVAebasRxw7466Nvrg1t2NmMB8GA1UdIwQYMBaAFJI6YEjF2kFE
        Cr/mKGriU/gOtp6RMAoGCCqGSM49BAMCA0kAMEYCIQCbC+FHoQZBoefBjDesLYTK
        BgAbL4t6kr4i1dymHAAk7wIhAK2LGAMOo8plBcNF8PPs0bzeORb0pvlB5arWvRfV
        XBAG
        -----END CERTIFICATE-----
        """

    static let wildKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgu8sPee1S3at6Km4j
        SVP8yHH/VRJHpfhYWBdQ4L3UbWyhRANCAAThlOv1X1SITAxVpIuIFZk6A/fR4EgF
        JqgS040AJRuLBmqANEpZFfCkVk7f4YErpphqI/iAnXBO9fWYmRSYP2a7
        -----END PRIVATE KEY-----
        """

    static let rsaCertificate = """
        -----BEGIN CERTIFICATE-----
        MIICdzCCAh2gAwIBAgIUX0rMxM6bjJeUN1Jbfc2IpBIBB90wCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOdW5pdCBhdXRob3JpdHkwIBcNMjYxMTIxMDQ1NzE2WhgPMjEy
        NjEwMjgwNDU3MTZaMBQxEjAQBgNVBAMMCW1haW4udGVzdDCCASIwDQYJKoZIhvcN
        AQEBBQADggEPADCCAQoCggEBAN3ggglUrrooPVHWyB4Zvv6ME7oUhN81egp1/Mmj
        jKfoqBv32VHRdhM4RNcILUWsf/F40EmluhZQtUioZe/ysgqVC3NhvH1CmV/HyW8b
        /Kjb6dfqLnucw3CZ2NRAffftR90K64SdE+YBJ/0kBac+d3umSdaYtf/Cv+McLRRJ
        gU72n064lAweRRq8yjwrKfmFqAtk7vAyHqW6MLOIESJ8cv9u81hrU8YnaI16aZeQ
        PQB9Tsh9Ru/jfIHjIVRs7J9C+DV736hxS3iUv6xieBro5t+QdzWAC7XclqD2pjY9
        raHbmQF0MKjDJ9tuM2QDNdRlO4puNYcvCTwb451OocVMjXECAwEAAaN7MHkwDAYD
        VR0TAQH/BAIwADATBgNVHSUEDDAKBggrBgEFBQcDATAUBgNVHREEDTALggltYWlu
        LnRlc3QwHQYDVR0OBBYEFGquOjg8sXDe5Lje6eR3qdGXhwxOMB8GA1UdIwQYMBaA
        FJI6YEjF2kFECr/mKGriU/gOtp6RMAoGCCqGSM49BAMCA0gAMEUCIQCr6P3CIIyz
        bqXFOJqs47+EWcEykURYP1nXYEnJOojErAIgFMs8YQUWCOvAkqldKzp+2xzDHskZ
        0iTsV3AQ3QTg484=
        -----END CERTIFICATE-----
        """

    static let rsaKey = """
        -----BEGIN PRIVATE KEY-----
        MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDd4IIJVK66KD1R
        1sgeGb7+jBO6FITfNXoKdfzJo4yn6Kgb99lR0XYTOETXCC1FrH/xeNBJpboWULVI
        qGXv8rIKlQtzYbx9Qplfx8lvG/yo2+nX6i57nMNwmdjUQH337UfdCuuEnRPmASf9
        JAWnPnd7pknWmLX/wr/jHC0USYFO9p9OuJQMHkUavMo8Kyn5hagLZO7wMh6lujCz
        iBEifHL/bvNYa1PGJ2iNemmXkD0AfU7IfUbv43yB4yFUbOyfQvg1e9+ocUt4lL+s
        Ynga6ObfkHc1gAu13Jag9qY2Pa2h25kBdDCowyfbbjNkAzXUZTuKbjWHLwk8G+Od
        TqHFTI1xAgMBAAECggEAGd2KSzwsAleejmPTgG7P7Sy3QAIUW1EIoR+QEJGYXBqr
        PlduZjNc6HCu1cKGRJEPeT70SSGgx+kwuP+ooohQaRtm8lR6fL++0YOg3+sLUUQR
        xrHuKUrlHcNRm6zJApYOwp37RsJpB28rEj+YyR5nH2sLQJEc5mv1oqwuNSc8g8/U
        vaV2VkzEcSqNTZ0rsyA4B15y5h7qpJz++SDjLJAvc9n+d7BBZHXPlBYxVybS98FI
        WKEOM/7y8L1WC81Bn4zJYOC4aYJqLYeZzRxDM91HI3vgPANeZZKU1qnJjtnAxCXT
        PhQSRPxv/qt6sw5m1zoc+8EAIVfVY9SChmlSLzYB4QKBgQDzxAm5bnOKlsK7JCmI
        Q2pT9Hjz94uPRIH/0RpW3FEZGW6vFdf8as+HQmGVW7wgPUSEp1o/6/GypqxpRK86
        iu9vlW24YK1SJ0At+siuJKrffgnAWp+4SzOjrRNf7VYlbekrdvuj+r78h2zQ0JC6
        3QH8v8XpRNz2+DQtcGkRHBR5uwKBgQDpAzzLNdKT+9WnWRAQJK92JbddMn3J951m
        BhXtSp0kr83LCg6dKcdCRLz4PjxRWbsQkN8/I6vcGFKjYez2AZ186KFG1ke8vMOR
        zc/tV4hzHd+WJ7CHqEgY+dTKr7rHRJ00UA5ijvbeBZ1aDAnfTSLE5P7AhRHHWlvW
        g1onBsQ8wwKBgQDF1WAfAij7XQeFYf/i+vOcV1iih1DYYT0wJMA/pmaa/Cz8I7o6
        vWTX3WPdF6pCb/bfwgJYxmBOIT7j4D5mQMO5x4hYjv2bIwfPSSz9R/z1jRDU77eY
        lk++koSa4b98eQs3n0Ty/FlsEWyau+n5/cvTGMDCZIUAWsfd6NEcdbGYaQKBgEFY
        ahUm++4KQumSfYG5eAdvHlQhk8svCNISxNVuBlHCh7j4Eg8bJ0k7U69ebLX3rxE/
        P4xKaajonUw6ayS2YT8lUg02jJmuaj4adMQ/twFpkElgyg3RMJ7oeTd6PqwhXuDL
        zqzvIOY0tuMI2z/nNuf2vEarSsgYXAb1gTPOnvvXAoGBALCD1XIrv9359Cbs2dMk
        6hvjnt2YLFR48NxJz4ldFfnHlH2VNYxQ1YUC1rfF+6ACZWVmUEMZuMagV6VKOphN
        nyffIWxJ2ZTiAfgxdpZAVfVcTo7rIzqzbtDcRtDlH+7WIF/PthSUIWACOiyDbPWk
        r7F2oVUv2qoA9y0niZxYCo5X
        -----END PRIVATE KEY-----
        """

    static let clientCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIB5jCCAYugAwIBAgIUX0rMxM6bjJeUN1Jbfc2IpBIBB94wCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOdW5pdCBhdXRob3JpdHkwIBcNMjYxMTIxMDQ1NzE2WhgPMjEy
        NjEwMjgwNDU3MTZaMCUxEzARBgNVBAoMCkFjbWUsIEluYy4xDjAMBgNVBAMMBWFs
        aWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPJYyhj1yYe8k2o6Cy+qlBYiR
        qP40YCumUOM3lb5of1s9bMGPCIJdRcUrxuguna9TXEQezeT6JplNT9aL2BmtPqOB
        ojCBnzAMBgNVHRMBAf8EAjAAMBMGA1UdJQQMMAoGCCsGAQUFBwMCMDoGA1UdEQQz
        MDGCCmFsaWNlLnRlc3SGE3NwaWZmZTovL3Rlc3QvYWxpY2WBCGFAYi50ZXN0hwTA
        AAIBMB0GA1UdDgQWBBQtO2n/9gyv3eaF2O2ESbYt2p44QDAfBgNVHSMEGDAWgBSS
        OmBIxdpBRAq/5ihq4lP4DraekTAKBggqhkjOPQQDAgNJADBGAiEArzJQPAa2Ns6U
        tsqAJ7rmlJWlYuOn9zvU2E1JMdHIYu8CIQCumcck1ydjqF39F3AMi8aHfI+hF6SS
        aNUOEzdFw938Qw==
        -----END CERTIFICATE-----
        """

    static let clientKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUGcrFyl8KCM1ZWyO
        1UbIN5pq8Mv3UKCyAJAeTuxtYQuhRANCAAQ8ljKGPXJh7yTajoLL6qUFiJGo/jRg
        K6ZQ4zeVvmh/Wz1swY8Igl1FxSvG6C6dr1NcRB7N5PommU1P1ovYGa0+
        -----END PRIVATE KEY-----
        """

    static let commaCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIBTzCB9qADAgECAgEHMAoGCCqGSM49BAMCMBkxFzAVBgNVBAMMDnVuaXQgYXV0
        aG9yaXR5MCAXDTI2MTEyMTA0NTkwMFoYDzIxMjUwNjE1MDQ1OTAwWjAQMQ4wDAYD
        VQQDDAVjb21tYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPmhSjnxnEavXm9i
        PuGsP10VHHEqA8J4ddTfyUC4FgUnAIP5QQQXgetx5CAYyXCIgw6A0UQLuA3/HBVB
        zY3T0FmjNjA0MDIGA1UdEQQrMCmGGnNwaWZmZTovL2EvYixETlM6ZXZpbC50ZXN0
        ggt4LGV2aWwudGVzdDAKBggqhkjOPQQDAgNIADBFAiEAuvaEUwdYGWlM9SEku3u6
        TAbGcuhzuIj9yB+/6Cz1iRACIBSg0Me0geD37QwHZTTJv619h1jwlq8lvrRCzdkT
        C1gs
        -----END CERTIFICATE-----
        """

    static let commaKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQggUpObmmbCMvdNQtp
        wRZ7+lJhXlIcQ3U5Ndi+QBMugG6hRANCAAT5oUo58ZxGr15vYj7hrD9dFRxxKgPC
        eHXU38lAuBYFJwCD+UEEF4HrceQgGMlwiIMOgNFEC7gN/xwVQc2N09BZ
        -----END PRIVATE KEY-----
        """

    static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    static func pair(_ certificate: String, _ key: String) -> CertifiedKeyText {
        CertifiedKeyText(certificate: bytes(certificate), key: bytes(key))
    }

    static let main = pair(mainCertificate, mainKey)
    static let wild = pair(wildCertificate, wildKey)
    static let rsa = pair(rsaCertificate, rsaKey)
    static let client = pair(clientCertificate, clientKey)
    static let comma = pair(commaCertificate, commaKey)
}
